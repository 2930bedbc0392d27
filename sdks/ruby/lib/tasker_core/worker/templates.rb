# frozen_string_literal: true

require 'yaml'
require 'tasker_core/logger'
require 'tasker_core/template_discovery'
require 'tasker_core/worker/errors'

module TaskerCore
  module Worker
    # The templates that a worker registers at its start.
    class Templates
      # @return [Array<String>] the namespaces of the templates that are registered
      attr_reader :namespaces

      # @return [Array<Hash>] what their steps call: +callable+, +method+, +resolver+
      attr_reader :handlers

      # @param path [String, nil] a file or directory; by default +config/tasks+ of the application, if it is there
      def initialize(path)
        path ||= TemplateDiscovery::TemplatePath.find_template_config_directory
        @files = path ? TemplateDiscovery::TemplatePath.discover_template_files(path) : []
        @namespaces = []
        @handlers = []
      end

      # Registers all templates; may be called again if the server was away.
      # @param session [Session] the worker's connection
      # @raise [StartFailed] the server does not take one
      # @raise [ServerUnavailable] the server cannot be reached
      def register(session)
        until @files.empty?
          register_file(session, @files.first)
          @files = @files.drop(1)
        end
      end

      private

      def register_file(session, file)
        text = File.read(file, encoding: 'UTF-8')
        answer = session.register_template(text)
        add(answer['namespace'], answer['handlers'] || [])
        (answer['warnings'] || []).each { |warning| log('template_warning', file, warning) }
      rescue AccessRefused => e
        raise unless e.status == 403

        # Somebody else registers templates; the steps are run all the same.
        log('template_not_registered', file, e.message)
        read_locally(text)
      rescue RequestRefused => e
        findings = e.details.map { |detail| "\n  #{detail}" }.join
        raise StartFailed, "#{file}: #{e.reason}#{findings}"
      end

      def add(namespace, handlers)
        @namespaces |= [namespace].compact
        @handlers |= handlers
      end

      def read_locally(text)
        template = YAML.safe_load(text, aliases: true)
        handlers = template['steps'].map { |step| step['handler'].slice('callable', 'method', 'resolver') }
        add(template['namespace_name'], handlers)
      rescue Psych::Exception, NoMethodError, TypeError
        nil # it is no template: there is nothing to serve
      end

      def log(event, file, reason)
        Logger.instance.warn(event, logger: 'tasker.worker', template: file, reason: reason)
      end
    end
  end
end
