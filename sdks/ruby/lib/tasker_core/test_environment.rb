# frozen_string_literal: true

module TaskerCore
  # Loads handlers that exist for tests only, where +TASKER_ENV+ is +test+.
  module TestEnvironment
    # Where they are, below the working directory.
    DIRECTORIES = [File.join('spec', 'handlers'), File.join('test', 'handlers')].freeze

    class << self
      # @return [Boolean] whether this is a test
      def test_environment?
        ENV.fetch('TASKER_ENV', '').downcase == 'test'
      end

      # Loads all Ruby files below the directories, if this is a test.
      # @param directories [Array<String>] where handlers are
      # @return [Array<String>] the files, sorted
      def load_if_test!(directories = DIRECTORIES)
        return [] unless test_environment?

        files = directories.flat_map { |directory| Dir[File.join(directory, '**', '*.rb')] }.sort
        files.each { |file| require File.expand_path(file) }
      end
    end
  end
end
