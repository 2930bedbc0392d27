# frozen_string_literal: true

require 'stringio'

# Keeps what is logged out of the tests' output; +log+ reads it.
RSpec.shared_context 'with a captured log' do
  let(:log_output) { StringIO.new }

  around do |example|
    logger = TaskerCore::Logger.instance
    before = logger.output
    logger.output = log_output
    example.run
  ensure
    logger.output = before
  end

  def log
    log_output.string
  end
end
