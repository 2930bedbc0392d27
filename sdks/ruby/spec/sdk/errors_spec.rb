# frozen_string_literal: true

RSpec.describe TaskerCore::Errors do
  classes = described_class.constants.map { |name| described_class.const_get(name) }.grep(Class)

  classes.each do |error_class|
    it "#{error_class} takes a message and an error_category" do
      error = error_class.new('what happened', error_category: :payment)
      expect(error).to have_attributes(message: 'what happened', error_category: :payment,
                                       error_class: error_class.name.split('::').last)
      expect(error).to be_a(StandardError).and be_a(described_class::Error)
    end

    it "#{error_class} can be raised without a message" do
      expect { raise error_class }.to raise_error(error_class, error_class.name)
    end
  end

  it 'keeps what belongs to an error' do
    expect(TaskerCore::RetryableError.new('m', retry_after: 5, context: { a: 1 })).to have_attributes(retry_after: 5, context: { a: 1 })
    expect(TaskerCore::PermanentError.new('m', error_code: 'E')).to have_attributes(error_code: 'E', context: {})
    expect(TaskerCore::TimeoutError.new('m', timeout_duration: 3)).to have_attributes(timeout_duration: 3)
    expect(TaskerCore::NetworkError.new('m', status_code: 502)).to have_attributes(status_code: 502)
    expect(TaskerCore::ValidationError.new('m', field: :age, error_code: 'E')).to have_attributes(field: :age, error_code: 'E')
    expect(TaskerCore::NotFoundError.new('m', resource_type: 'Order')).to have_attributes(resource_type: 'Order')
    expect(TaskerCore::FFIError.new('m', operation: 'load')).to have_attributes(operation: 'load')
    expect(TaskerCore::ServerError.new('m', operation: 'poll')).to have_attributes(operation: 'poll')
  end

  it 'has the top-level names for the same classes' do
    expect(TaskerCore::PermanentError).to equal(described_class::PermanentError)
    expect(TaskerCore::Error).to equal(described_class::Error)
  end

  it 'knows which errors are worth another attempt' do
    permanent = %i[ConfigurationError DatabaseError PermanentError ValidationError NotFoundError FFIError]
    classes.each do |error_class|
      name = error_class.name.split('::').last.to_sym
      expect(TaskerCore::Errors::ErrorClassifier.retryable?(error_class.new('m'))).to be(!permanent.include?(name)), name.to_s
    end
    expect(TaskerCore::Errors::ErrorClassifier.retryable?(KeyError.new)).to be(true)
  end

  describe TaskerCore::Types::ErrorTypes do
    it 'writes types as all languages do' do
      expected = { 'PermanentError' => 'permanent_error', 'RetryableError' => 'retryable_error',
                   'ValidationError' => 'validation_error', 'UnexpectedError' => 'handler_error',
                   'StepCompletionError' => 'handler_error', 'TimeoutError' => 'timeout', 'CardDeclined' => 'card_declined',
                   'HTTPError' => 'http_error', 'Billing::CardDeclined' => 'billing_card_declined',
                   'card_declined' => 'card_declined', 'SERIALIZATION_ERROR' => 'SERIALIZATION_ERROR' }
      expect(expected.keys.to_h { |type| [type, described_class.wire_name(type)] }).to eq(expected)
    end

    it 'knows its own' do
      expect(described_class::ALL).to all(satisfy { |type| described_class.valid?(type) })
      expect(described_class.valid?('card_declined')).to be(false)
      expect(described_class::ALL.select { |type| described_class.typically_retryable?(type) }).to eq(%w[RetryableError UnexpectedError])
      expect(described_class::ALL.select { |type| described_class.typically_permanent?(type) }).to eq(%w[PermanentError ValidationError])
    end
  end
end
